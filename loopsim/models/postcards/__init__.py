"""The embedded models: small real models of a world the project draws itself."""
