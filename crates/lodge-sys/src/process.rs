//! Processes that are not our children: pid and start time, pidfds, signals.
