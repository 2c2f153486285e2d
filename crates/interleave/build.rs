//! Breaks the store on purpose: for each entry of [`BROKEN`] the files of the store's threads are copied and one place
//! in them is changed. The tests of this crate must find every one of them. A change whose place is not there any more
//! ends the build, so that none is forgotten when the files change.

use std::{env, fmt::Write, fs, path::Path};

/// The files that the store on disk is made of here.
const FILES: [&str; 4] = ["front", "pool", "queue", "sync"];

/// A way to break it: its name, the file, what stands there, what stands there instead, and how one of the complaints
/// begins by which it must be found.
type Change = (&'static str, &'static str, &'static str, &'static str, &'static [&'static str]);

const BROKEN: &[Change] = &[
    (
        "told_out_of_order",
        "sync",
        "state.told != turn && !state.failed;",
        "false && state.told != turn;",
        &["order:", "reader:", "durable:"],
    ),
    ("told_before_its_sync", "sync", "if dirty { log.sync() }", "if false { log.sync() }", &["durable:"]),
    ("dirt_forgotten", "sync", "state.dirty |= dirty;", "state.dirty = dirty;", &["durable:"]),
    ("sync_tried_again", "sync", "log.sync() }", "log.sync().or_else(|_| log.sync()) }", &["durable:"]),
    (
        "failed_sync_ignored",
        "sync",
        "if let Err(error) = synced {",
        "if let Err(error) = Ok(()).and(if false { synced } else { Ok(()) }) {",
        &["durable:"],
    ),
    (
        "waits_after_a_failure",
        "sync",
        "state.told != turn && !state.failed;",
        "state.told != turn;",
        &["deadlock"],
    ),
    (
        "durable_before_told",
        "sync",
        "    tools.tell.tell(group);",
        "    durability.durable.store(number, Ordering::SeqCst); tools.tell.tell(group);",
        &["reader:"],
    ),
    (
        "telling_wakes_nobody",
        "sync",
        "    state.on_their_way -= count;\n    durability.told.notify_all();",
        "    state.on_their_way -= count;",
        &["deadlock"],
    ),
    ("pushing_wakes_nobody", "sync", "        self.work.notify_one();", "", &["deadlock"]),
    ("ending_wakes_nobody", "sync", "        self.durability.work.notify_all();\n", "", &["deadlock"]),
    ("pauses_at_the_end", "sync", "self.running > 0 && !self.ending", "self.running > 0", &["deadlock"]),
    ("dying_wakes_nobody", "sync", "        self.durability.fail();", "", &["deadlock"]),
    ("readers_do_not_wait", "pool", "Ok(()) if durability.settle()", "Ok(()) if true", &["reader:"]),
    (
        "readers_wait_then_look",
        "pool",
        "let mut begun = view.begin();",
        "durability.settle(); let mut begun = view.begin(); let durability = &Durability::new(1);",
        &["reader:"],
    ),
    (
        "commits_counted_late",
        "queue",
        "            self.durability.begin();\n        }\n        self.base.commit()",
        "            let committed = self.base.commit();\n            self.durability.begin();\n            return committed;\n        }\n        self.base.commit()",
        &["reader:"],
    ),
    ("ends_before_telling", "queue", "if self.syncs.finish() {", "if true {", &["end:"]),
    (
        "the_rest_is_not_answered",
        "queue",
        "        for ask in &self.waiting {\n            (ask.ticket)(Err(engine::stopped()));\n        }",
        "",
        &["answer:"],
    ),
    (
        "one_is_not_decided_again",
        "queue",
        "        for ask in asks {\n            self.alone(ask);",
        "        for ask in asks.skip(1) {\n            self.alone(ask);",
        &["answer:"],
    ),
    (
        "told_though_rolled_back",
        "queue",
        "                Err(stop) => return self.give_up(B::trouble(&stop), &stop, steps, ask),",
        "                Err(stop) => { if B::trouble(&stop) == Trouble::Request { self.roll_back(); self.dirty = true; self.durability.begin(); return self.tell(steps); } return self.give_up(B::trouble(&stop), &stop, steps, ask); }",
        &["rolled back:"],
    ),
];

fn main() {
    let store = Path::new("../store/src/sqlite").canonicalize().expect("the store lies beside this crate");
    let engine = Path::new("src/disk/engine.rs").canonicalize().expect("this crate has it");
    let out = env::var("OUT_DIR").expect("cargo says where to");
    let (mut modules, mut list) = (String::new(), String::new());
    for (name, changed, from, to, breaks) in BROKEN {
        let folder = Path::new(&out).join(name);
        fs::create_dir_all(&folder).expect("the folder for what is built can be written");
        writeln!(modules, "pub mod {name} {{\n    #[path = {engine:?}] pub mod engine;")
            .expect("memory can be written");
        for file in FILES {
            let source = fs::read_to_string(store.join(file).with_extension("rs")).expect("the store has it");
            let text = if file == *changed {
                assert_eq!(source.matches(from).count(), 1, "{name}: {file}.rs must have this once: {from}");
                source.replace(from, to)
            } else {
                source
            };
            let path = folder.join(file).with_extension("rs");
            fs::write(&path, text).expect("the folder for what is built can be written");
            writeln!(modules, "    #[path = {path:?}] mod {file};").expect("memory can be written");
        }
        writeln!(modules, "}}").expect("memory can be written");
        writeln!(list, "    ({name:?}, {name}::engine::open, &{breaks:?}),").expect("memory can be written");
    }
    let text = format!(
        "{modules}\n/// Each way to break the store: its name, the broken one, and how it must be found.\n\
        pub const BROKEN: &[(&str, crate::disk::Open, &[&str])] = &[\n{list}];\n"
    );
    fs::write(Path::new(&out).join("broken.rs"), text).expect("the folder for what is built can be written");
    for file in FILES {
        println!("cargo:rerun-if-changed={}", store.join(file).with_extension("rs").display());
    }
    println!("cargo:rerun-if-changed=build.rs");
}
