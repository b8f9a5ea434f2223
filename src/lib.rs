//! Sekisho (関所): a checkpoint for personal data between a seller's applications, Amazon's Selling
//! Partner API and the seller's own stores.
pub mod base;

pub mod evidence;
pub mod identity;
pub mod policy;

pub mod config;

pub mod answer;
pub mod engine;
pub mod keys;
pub mod observe;
pub mod state;
pub mod upstream;

pub mod admin;
pub mod gateway;
pub mod listen;

pub mod cli;
pub mod devcerts;
pub mod mock;
