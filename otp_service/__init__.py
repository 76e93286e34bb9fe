"""One-time codes by SMS and SIM ownership: one signed verdict."""
