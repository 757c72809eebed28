"""The queue against Procrastinate, against its own growth, and against its promise of fairness."""
