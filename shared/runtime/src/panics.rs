//! The part of a panic's message that may be shown.

use std::any::Any;
use std::panic::PanicHookInfo;

use tokio::task::JoinError;

/// Replaces a text that is not shown.
const HIDDEN: &str = "its text may quote a Secret and is not shown";

/// The text of a panic if it is part of the program. A text that was formatted at run time may quote a Secret and is
/// replaced by a fixed one.
///
/// `payload` is what `catch_unwind` gives.
#[must_use]
pub fn text(payload: &(dyn Any + Send)) -> &'static str {
    written(payload).unwrap_or(HIDDEN)
}

/// As [`text`], for a task that ended without a result.
#[must_use]
pub fn of_task(error: JoinError) -> String {
    match error.try_into_panic() {
        Ok(panic) => format!("a task panicked: {}", text(&*panic)),
        Err(_) => "a task was cancelled".to_owned(),
    }
}

/// The location of a panic, and its [`text`]; begins as Rust's own message does.
pub(crate) fn line(panic: &PanicHookInfo<'_>) -> String {
    let text = written(panic.payload()).unwrap_or(HIDDEN);
    match panic.location() {
        Some(location) => format!("panicked at {location}:\n{text}"),
        None => format!("panicked:\n{text}"),
    }
}

fn written(payload: &dyn Any) -> Option<&'static str> {
    payload.downcast_ref::<&'static str>().copied()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::panic::catch_unwind;
    use std::sync::Mutex;

    use super::*;

    fn panics() -> [(fn(), &'static str); 5] {
        [
            (|| panic!("plain"), "plain"),
            (
                || {
                    black_box(None::<u8>).unwrap();
                },
                "called `Option::unwrap()` on a `None` value",
            ),
            (|| panic!("hunter2 {}", black_box(1)), HIDDEN),
            (
                || {
                    black_box(Err::<u8, _>("hunter2")).unwrap();
                },
                HIDDEN,
            ),
            (|| std::panic::panic_any("hunter2".to_owned()), HIDDEN),
        ]
    }

    #[test]
    fn panic_messages_are_shown_only_if_they_are_literals() {
        for (panic, want) in panics() {
            let payload = catch_unwind(panic).unwrap_err();
            assert_eq!(text(&*payload), want);
        }
    }

    #[tokio::test]
    async fn a_panicked_task_has_the_same_message() {
        for (panic, want) in panics() {
            let error = tokio::spawn(async move { panic() }).await.unwrap_err();
            assert_eq!(of_task(error), format!("a task panicked: {want}"));
        }
        let task = tokio::spawn(std::future::pending::<()>());
        task.abort();
        let error = task.await.unwrap_err();
        assert_eq!(of_task(error), "a task was cancelled");
    }

    #[test]
    fn a_panic_is_logged_with_its_location() {
        static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(|panic| {
            if let Ok(mut seen) = SEEN.lock() {
                seen.push(line(panic));
            }
        }));
        let ended: Vec<_> = panics().map(|(panic, _)| catch_unwind(panic)).into();
        std::panic::set_hook(before);
        assert!(ended.iter().all(Result::is_err));
        let seen = SEEN.lock().unwrap();
        for (_, want) in panics() {
            let told = |line: &&String| {
                line.starts_with("panicked at shared/runtime/src/panics.rs:")
                    && line.ends_with(&format!(":\n{want}"))
            };
            assert!(seen.iter().any(|line| told(&line)), "{want} in {seen:?}");
        }
        assert!(
            !seen.iter().any(|line| line.contains("hunter2")),
            "{seen:?}"
        );
    }
}
