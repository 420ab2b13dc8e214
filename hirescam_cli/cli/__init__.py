"""The command line: arguments in, one call, rendering out. Everything heavy is imported inside the commands."""
