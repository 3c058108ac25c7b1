//! Properties of inspection as a whole: what streams out equals what a slow and plain reading of the whole
//! body gives, for every cutting.

mod arguments;
mod bodies;
mod bombs;
mod definitions;
mod folded;
mod generate;
mod kinds;
mod large;
mod long;
mod nested;
mod oracle;
mod streams;
mod suite;
mod symbols;
mod thinking;
mod twins;
