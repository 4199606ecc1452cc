"""The command line: `pgflow` and its commands."""
