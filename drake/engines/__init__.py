"""Where the work runs: in this process, in forked processes, or on GPUs and machines through Ray."""
