use super::{Error, Scrub, SecretSpec, SecretValue};
use crate::time::Timestamp;
use arc_swap::{ArcSwap, ArcSwapOption};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One secret of a configuration: what was asked for, and its value now.
///
/// Shared between `background`, which publishes, and the shards, which read; reading takes no lock. An
/// exchange that holds the old value keeps it alive; it is wiped when the last one lets go.
pub struct SecretSlot {
    spec: SecretSpec,
    current: ArcSwapOption<SecretValue>,
    health: ArcSwap<Health>,
}

/// How the reading of a secret goes. Safe to show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health {
    /// When the value was last read, changed or not; `None` before the first time.
    pub fetched_at: Option<Timestamp>,
    /// When the value last changed.
    pub changed_at: Option<Timestamp>,
    /// The last failure, if nothing was read since: when, and what.
    pub failure: Option<(Timestamp, Arc<str>)>,
    /// Failures since the gateway has this secret.
    pub failure_count: u64,
}

impl SecretSlot {
    /// A slot without a value.
    pub fn new(spec: SecretSpec) -> SecretSlot {
        SecretSlot { spec, current: ArcSwapOption::empty(), health: ArcSwap::default() }
    }

    /// What the configuration says.
    pub fn spec(&self) -> &SecretSpec {
        &self.spec
    }

    /// The name; never secret.
    pub fn name(&self) -> &Arc<str> {
        &self.spec.name
    }

    /// Whether echoes of the value are to be masked.
    pub fn scrub(&self) -> Scrub {
        self.spec.scrub
    }

    /// The value now; `None` before the first successful read.
    pub fn value(&self) -> Option<Arc<SecretValue>> {
        self.current.load_full()
    }

    /// How reading goes.
    pub fn health(&self) -> Arc<Health> {
        self.health.load_full()
    }

    /// Time since the value was last read; `None` before the first time. For `ringward_secret_age_seconds`.
    pub fn age(&self, now: Timestamp) -> Option<Duration> {
        let fetched = self.health.load().fetched_at?;
        Some(Duration::from_micros(now.0.saturating_sub(fetched.0)))
    }

    /// Puts a value that was read at `at` in place; returns whether it differs from the one before. One
    /// writer at a time: `background` is the only one.
    pub fn publish(&self, value: SecretValue, at: Timestamp) -> bool {
        let same = self.current.load().as_ref().is_some_and(|current| **current == value);
        if !same {
            self.current.store(Some(Arc::new(value)));
        }
        let mut health = Health::clone(&self.health.load());
        health.fetched_at = Some(at);
        health.failure = None;
        if !same {
            health.changed_at = Some(at);
        }
        self.health.store(Arc::new(health));
        !same
    }

    /// Notes that reading failed at `at`; the value stays as it is. `error` must hold no secret.
    pub fn fail(&self, error: &dyn fmt::Display, at: Timestamp) {
        let mut health = Health::clone(&self.health.load());
        health.failure = Some((at, error.to_string().into()));
        health.failure_count += 1;
        self.health.store(Arc::new(health));
    }
}

impl fmt::Debug for SecretSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SecretSlot").field("spec", &self.spec).field("health", &self.health.load()).finish()
    }
}

/// All secrets of one configuration, found by name. Immutable but for the values inside.
#[derive(Clone, Debug, Default)]
pub struct Slots(Arc<[Arc<SecretSlot>]>);

impl Slots {
    /// Empty slots for `specs`; `background` fills them.
    ///
    /// # Errors
    /// [`Error::Duplicate`]: the operator is at fault.
    pub fn new(specs: impl IntoIterator<Item = SecretSpec>) -> Result<Slots, Error> {
        let mut slots: Vec<_> = specs.into_iter().map(|spec| Arc::new(SecretSlot::new(spec))).collect();
        slots.sort_by(|a, b| a.name().cmp(b.name()));
        if let Some(pair) = slots.windows(2).find(|pair| pair[0].name() == pair[1].name()) {
            return Err(Error::Duplicate(pair[0].name().clone()));
        }
        Ok(Slots(slots.into()))
    }

    /// The slot called `name`.
    pub fn find(&self, name: &str) -> Option<&Arc<SecretSlot>> {
        let index = self.0.binary_search_by(|slot| (**slot.name()).cmp(name)).ok()?;
        self.0.get(index)
    }

    /// All slots, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<SecretSlot>> {
        self.0.iter()
    }

    /// Takes over the values of secrets that `previous` defines in the same way: a source that fails while
    /// the configuration is reloaded does not take a working value away.
    pub fn inherit(&self, previous: &Slots) {
        for slot in self.iter() {
            let Some(old) = previous.find(slot.name()).filter(|old| old.spec == slot.spec) else { continue };
            if let Some(value) = old.value() {
                slot.current.store(Some(value));
                slot.health.store(old.health());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secrets::Source;

    fn spec(name: &str, variable: &str) -> SecretSpec {
        SecretSpec::new(name, Source::env(variable).unwrap(), None, Scrub::On).unwrap()
    }

    fn value(text: &str) -> SecretValue {
        SecretValue::new(text.as_bytes().to_vec(), Scrub::On).unwrap()
    }

    #[test]
    fn slots_are_found_by_name_and_not_defined_twice() {
        let slots = Slots::new([spec("b", "B"), spec("a", "A"), spec("c", "C")]).unwrap();
        let names: Vec<_> = slots.iter().map(|slot| slot.name().to_string()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(slots.find("b").map(|slot| slot.spec().source.to_string()), Some("env B".to_owned()));
        assert!(slots.find("d").is_none());
        assert_eq!(Slots::new([spec("a", "A"), spec("a", "B")]).err(), Some(Error::Duplicate("a".into())));
    }

    #[test]
    fn a_failure_keeps_the_value_and_is_reported() {
        let slot = SecretSlot::new(spec("a", "A"));
        assert!(slot.value().is_none());
        assert!(slot.age(Timestamp(1)).is_none());
        assert!(slot.publish(value("canary-number-1"), Timestamp(1_000_000)));
        assert!(!slot.publish(value("canary-number-1"), Timestamp(2_000_000)));
        slot.fail(&"the file is gone", Timestamp(3_000_000));
        assert_eq!(slot.value().unwrap().expose(), b"canary-number-1");
        assert_eq!(slot.age(Timestamp(5_000_000)), Some(Duration::from_secs(3)));
        let health = slot.health();
        assert_eq!(health.changed_at, Some(Timestamp(1_000_000)));
        assert_eq!(health.failure, Some((Timestamp(3_000_000), "the file is gone".into())));
        assert!(slot.publish(value("canary-number-2"), Timestamp(6_000_000)));
        assert_eq!((slot.health().failure.clone(), slot.health().failure_count), (None, 1));
        assert!(!format!("{slot:?}").contains("canary"));
    }

    #[test]
    fn a_reload_inherits_values_of_unchanged_secrets_only() {
        let old = Slots::new([spec("same", "A"), spec("moved", "B"), spec("empty", "C")]).unwrap();
        for name in ["same", "moved"] {
            old.find(name).unwrap().publish(value("canary-number-1"), Timestamp(7));
        }
        let new = Slots::new([spec("same", "A"), spec("moved", "Z"), spec("empty", "C")]).unwrap();
        new.inherit(&old);
        let has = |name: &str| new.find(name).unwrap().value().is_some();
        assert_eq!(["same", "moved", "empty"].map(has), [true, false, false]);
        assert_eq!(new.find("same").unwrap().health().fetched_at, Some(Timestamp(7)));
    }
}
