"""The live view: the report's page, served to this machine only, following a run that is going."""
