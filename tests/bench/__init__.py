"""The benchmarks behind ``make bench``; ``docs/benchmarks.md`` says how each figure is taken."""
