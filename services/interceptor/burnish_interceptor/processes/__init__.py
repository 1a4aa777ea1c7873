"""Several replicas on one port: started, watched, started again, and drained together."""
