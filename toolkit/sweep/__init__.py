"""Many runs: what they would cost, executing them, resuming them, whatever happens."""
