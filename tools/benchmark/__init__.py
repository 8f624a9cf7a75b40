"""What tools/bench is made of: nets, contenders, the worker process, the report."""
