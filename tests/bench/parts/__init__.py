"""The parts of tests/bench/compare: servers, cells, and one file per group of sections."""
