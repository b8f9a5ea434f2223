//! Whole configurations, read from memory.
mod alarm_rules;
mod defaults;
mod diff;
mod examples;
mod files;
mod good;
mod mistakes;
mod mutations;
mod operators;
mod pacing;
mod pass;
mod policy_rules;
mod rules;
mod scale;
mod secrets;
mod state;
mod support;
