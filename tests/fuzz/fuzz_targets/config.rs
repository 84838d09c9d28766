//! Whatever the bytes of the file: no panic, every place in the text, and what loads is loaded to
//! the same again from its effective form.

#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tunneld_core::config::{Origin, Surroundings, effective, load, load_bytes};

fuzz_target!(|bytes: &[u8]| {
    let origin = Origin::of_file(Path::new("/etc/tunneld/tunneld.toml"));
    let surroundings = Surroundings {
        user: Some("svc".to_owned()),
        home: Some("/home/svc".into()),
        aes_hardware: bytes.len().is_multiple_of(2),
        ..Surroundings::default()
    };
    match load_bytes(bytes, &origin, &surroundings) {
        Ok(config) => {
            let again = load(&effective(&config), &origin, &surroundings);
            assert_eq!(again.as_ref(), Ok(&config));
        }
        Err(problems) => {
            assert!(!problems.is_empty());
            assert!(!problems.render(true).is_empty());
            assert_eq!(problems.to_json_items().len(), problems.iter().count());
            if let Ok(text) = std::str::from_utf8(bytes) {
                let spans = problems.iter().filter_map(|item| item.span.clone());
                for span in spans {
                    assert!(text.get(span).is_some());
                }
            }
        }
    }
});
