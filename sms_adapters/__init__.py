"""SMS gateways, one file each: sans-I/O, found by entry point."""
