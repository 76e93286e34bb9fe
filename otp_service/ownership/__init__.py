"""Sources of SIM-ownership evidence, one file each."""
