//! Lambda: functions that run here, in child processes that speak the Runtime API.
