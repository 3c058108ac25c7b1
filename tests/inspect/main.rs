//! Properties of inspection as a whole: what streams out equals what a slow and plain reading of the whole
//! body gives, for every cutting.

mod bodies;
mod generate;
mod oracle;
mod streams;
