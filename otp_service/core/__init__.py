"""The rules: pure, typed, no I/O, no framework, no clock of their own."""
