mod failing;
mod layout;
mod pure;
