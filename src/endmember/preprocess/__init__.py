"""Before the factorisation: functions on arrays and signals alike."""
