"""The hosted page: where a portal's citizens type the code, without a line of the portal's own."""
