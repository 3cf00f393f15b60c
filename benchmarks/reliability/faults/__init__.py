"""What is done to a process while it works on files: kills at a step, errors of the file system, a record of steps."""
