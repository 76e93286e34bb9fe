"""Who is asked about a SIM: one source, or a chain of them, with deadlines, budgets and shares."""
