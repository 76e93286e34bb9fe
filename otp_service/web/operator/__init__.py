"""A mobile operator made up: CAMARA KYC Match and SIM Swap with OAuth2, and the 1414 dialogue, over one table."""
