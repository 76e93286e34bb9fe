"""The drop-in element: one script for portals that have a form of their own, and its types."""
