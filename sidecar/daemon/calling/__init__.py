"""What calls nodes and apps, made of the settings."""
