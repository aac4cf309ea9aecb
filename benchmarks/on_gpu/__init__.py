"""What `benchmarks/gpu.py` measures, and how it is kept."""
