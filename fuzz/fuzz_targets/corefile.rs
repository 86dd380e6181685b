//! Any text as a Corefile: it is taken or refused with a message, never a panic.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    // Both are shown on a terminal, say, which must not obey what a Corefile says. A diagnostic's cut-out of the text is
    // made only when it is shown.
    let shown = match podzone::config::parse("Corefile", text, 53) {
        Ok(loaded) => loaded.warnings,
        Err(error) => vec![error.to_string()],
    };
    for message in shown {
        let obeyed = |c: char| c.is_control() && c != '\n';
        assert!(!message.is_empty() && !message.starts_with('\n') && !message.contains(obeyed), "{message:?}");
    }
});
