"""What training with several processes changes in the numbers."""
