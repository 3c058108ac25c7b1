//! An allocator that counts what one thread takes: the shard's, known by its name.
#![allow(unsafe_code)]

use std::{
    alloc::{GlobalAlloc, Layout, System},
    backtrace::Backtrace,
    cell::Cell,
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
    },
};

/// Names of threads that are counted begin with this.
const SHARD: &[u8] = b"shard-";

#[global_allocator]
static ALLOCATOR: Counting = Counting;

static IS_ON: AtomicBool = AtomicBool::new(false);
static TRACES: AtomicBool = AtomicBool::new(false);
static COUNT: AtomicU64 = AtomicU64::new(0);
static BYTES: AtomicU64 = AtomicU64::new(0);
/// Bytes that were taken and not given back.
static LIVE: AtomicI64 = AtomicI64::new(0);
static WHERE: Mutex<Vec<(usize, Backtrace)>> = Mutex::new(Vec::new());

thread_local! {
    /// Set while a trace is taken, which allocates itself.
    static IS_TRACING: Cell<bool> = const { Cell::new(false) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator with its arguments unchanged.
unsafe impl GlobalAlloc for Counting {
    // SAFETY: the caller keeps what `GlobalAlloc` asks for; the system's allocator asks for the same.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }

    // SAFETY: as for `alloc`.
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    // SAFETY: as for `alloc`. A block that grows counts as one that is taken.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note_given(layout.size());
        note(size);
        // SAFETY: as above.
        unsafe { System.realloc(block, layout, size) }
    }

    // SAFETY: as for `alloc`.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note_given(layout.size());
        // SAFETY: as above.
        unsafe { System.dealloc(block, layout) }
    }
}

fn note(bytes: usize) {
    if !IS_ON.load(Ordering::Relaxed) || IS_TRACING.get() || !is_shard() {
        return;
    }
    COUNT.fetch_add(1, Ordering::Relaxed);
    BYTES.fetch_add(bytes as u64, Ordering::Relaxed);
    LIVE.fetch_add(bytes as i64, Ordering::Relaxed);
    if TRACES.load(Ordering::Relaxed) {
        IS_TRACING.set(true);
        if let Ok(mut all) = WHERE.lock() {
            all.push((bytes, Backtrace::force_capture()));
        }
        IS_TRACING.set(false);
    }
}

fn note_given(bytes: usize) {
    if IS_ON.load(Ordering::Relaxed) && !IS_TRACING.get() && is_shard() {
        LIVE.fetch_sub(bytes as i64, Ordering::Relaxed);
    }
}

/// Asked anew each time: a thread allocates before it has its name.
fn is_shard() -> bool {
    let mut name = [0_u8; 16];
    // SAFETY: the kernel writes at most 16 bytes, with the zero at their end, to an array of 16.
    let done = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) };
    done == 0 && name.starts_with(SHARD)
}

/// What the shards took while `work` ran: allocations and their bytes.
pub fn count(work: impl FnOnce()) -> (u64, u64) {
    COUNT.store(0, Ordering::SeqCst);
    BYTES.store(0, Ordering::SeqCst);
    LIVE.store(0, Ordering::SeqCst);
    IS_ON.store(true, Ordering::SeqCst);
    work();
    IS_ON.store(false, Ordering::SeqCst);
    (COUNT.load(Ordering::SeqCst), BYTES.load(Ordering::SeqCst))
}

/// Bytes that the shards took since counting began, and have not given back.
pub fn live() -> i64 {
    LIVE.load(Ordering::SeqCst)
}

/// The traces of the shards' allocations while `work` ran, each with the sizes that were asked for.
pub fn traces(work: impl FnOnce()) -> BTreeMap<String, Vec<usize>> {
    TRACES.store(true, Ordering::SeqCst);
    count(work);
    TRACES.store(false, Ordering::SeqCst);
    let all = std::mem::take(&mut *WHERE.lock().expect("no trace panicked"));
    let mut traces = BTreeMap::<String, Vec<usize>>::new();
    for (bytes, trace) in all {
        traces.entry(trace.to_string()).or_default().push(bytes);
    }
    traces
}
