//! Counters, gauges and histograms. They take plain names and numbers and know none of our types.
