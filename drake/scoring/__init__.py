"""The scoring room: generation, reading answers, scores per task, averages over clients and time."""
