"""The parts of the report: each turns `Facts` into one section, and says so when its tables are empty."""
