use super::*;

const PATIENCE: Duration = Duration::from_secs(20);

/// A directory like that of an LED in sysfs.
struct Fake {
    base: tempfile::TempDir,
}

impl Fake {
    fn new(triggers: &str) -> Self {
        let base = tempfile::tempdir().unwrap();
        let fake = Self { base };
        fs::create_dir(fake.base.path().join("green:x")).unwrap();
        for (attribute, text) in [("trigger", triggers), ("brightness", "0"), ("activate", "0")] {
            fake.put(attribute, text);
        }
        // those that the kernel makes when the trigger is set
        for attribute in ["duration", "state"] {
            fake.put(attribute, "0");
        }
        fake
    }

    fn put(&self, attribute: &str, text: &str) {
        fs::write(self.base.path().join("green:x").join(attribute), text).unwrap();
    }

    fn get(&self, attribute: &str) -> String {
        fs::read_to_string(self.base.path().join("green:x").join(attribute)).unwrap()
    }
}

fn led(duration_ms: u32, lit_by_one: bool) -> Led {
    Led { name: "l".into(), device: "green:x".into(), duration_ms, lit_by_one }
}

#[test]
fn it_is_set_up_lit_and_given_back() {
    let fake = Fake::new("[none] timer transient\n");
    let leds = Leds::at(fake.base.path());
    let light = leds.light(&led(20, true));
    assert!(leds.finish(PATIENCE));
    let all = |fake: &Fake| ["trigger", "duration", "state", "activate"].map(|a| fake.get(a));
    assert_eq!(all(&fake), ["transient", "20", "1", "0"]);
    light.flash(Instant::now());
    assert!(leds.finish(PATIENCE));
    assert_eq!(fake.get("activate"), "1");
    drop(light);
    assert!(leds.finish(PATIENCE));
    assert_eq!((fake.get("trigger"), fake.get("brightness")), ("none".to_owned(), "0".to_owned()));
}

#[test]
fn a_flash_that_runs_is_not_begun_anew() {
    let fake = Fake::new("none [transient]");
    let leds = Leds::at(fake.base.path());
    let light = leds.light(&led(500_000, false));
    light.flash(Instant::now());
    assert!(leds.finish(PATIENCE));
    assert_eq!((fake.get("activate"), fake.get("state")), ("1".to_owned(), "0".to_owned()));
    fake.put("activate", "0");
    let soon = Instant::now() + Duration::from_secs(400);
    for _ in 0..100_000 {
        light.flash(soon);
    }
    assert!(leds.finish(PATIENCE));
    assert_eq!(fake.get("activate"), "0");
    light.flash(Instant::now() + Duration::from_secs(501));
    assert!(leds.finish(PATIENCE));
    assert_eq!(fake.get("activate"), "1");
}

#[test]
fn another_setting_for_the_same_device_outlives_the_first() {
    let fake = Fake::new("none transient");
    let leds = Leds::at(fake.base.path());
    let first = leds.light(&led(20, true));
    let second = leds.light(&led(30, true));
    drop(first);
    assert!(leds.finish(PATIENCE));
    assert_eq!((fake.get("trigger"), fake.get("duration")), ("transient".to_owned(), "30".to_owned()));
    drop(second);
    assert!(leds.finish(PATIENCE));
    assert_eq!(fake.get("trigger"), "none");
}

#[test]
fn what_is_not_there_or_cannot_be_used_is_left_alone() {
    let fake = Fake::new("[none] timer");
    let leds = Leds::at(fake.base.path());
    let light = leds.light(&led(10, true));
    light.flash(Instant::now());
    drop(light);
    let gone = leds.light(&Led { device: "nosuch".into(), ..led(10, true) });
    gone.flash(Instant::now());
    drop(gone);
    assert!(leds.finish(PATIENCE));
    assert_eq!((fake.get("trigger"), fake.get("activate")), ("[none] timer".to_owned(), "0".to_owned()));
    assert!(!fake.base.path().join("nosuch").exists());
}
