"""What tools/gpu_check is made of: stages that run one by one in processes of their own, and their report."""
