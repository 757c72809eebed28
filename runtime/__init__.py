"""What every service process starts with: settings from the environment, logs without secrets."""
