//! Concurrent work with a limit.

use futures::future::BoxFuture;
use futures::stream::{FuturesOrdered, StreamExt as _};

/// Awaits futures in order, up to `limit` of them concurrently. After the first failure no other is started, but those
/// in progress are awaited: one of them may have deleted an object that it is about to recreate.
pub(crate) async fn all_or_first_failure<T, E>(
    futures: Vec<BoxFuture<'_, Result<T, E>>>,
    limit: usize,
) -> Result<Vec<T>, E> {
    let mut waiting = futures.into_iter();
    let mut running: FuturesOrdered<_> = waiting.by_ref().take(limit).collect();
    let mut done = Vec::new();
    let mut failure = None;
    while let Some(result) = running.next().await {
        match result {
            Ok(value) => done.push(value),
            Err(error) => {
                failure.get_or_insert(error);
            }
        }
        if failure.is_none()
            && let Some(next) = waiting.next()
        {
            running.push_back(next);
        }
    }
    failure.map_or(Ok(done), Err)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::{BoxFuture, FutureExt as _};
    use tokio::sync::oneshot;

    use super::all_or_first_failure;

    #[tokio::test]
    async fn a_failure_stops_new_work_and_lets_running_work_finish() {
        let (begun, finished) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let (failed, hears_of_it) = oneshot::channel();
        let mut hears_of_it = Some(hears_of_it);
        let mut failed = Some(failed);
        let work: Vec<BoxFuture<'_, Result<(), usize>>> = (0..4)
            .map(|number| {
                let (failed, hears_of_it) = match number {
                    0 => (failed.take(), None),
                    1 => (None, hears_of_it.take()),
                    _ => (None, None),
                };
                let (begun, finished) = (&begun, &finished);
                async move {
                    begun.fetch_add(1, Ordering::SeqCst);
                    if let Some(failed) = failed {
                        let _ = failed.send(());
                        return Err(number);
                    }
                    if let Some(hears_of_it) = hears_of_it {
                        let _ = hears_of_it.await;
                        tokio::task::yield_now().await;
                    }
                    finished.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                }
                .boxed()
            })
            .collect();
        assert_eq!(all_or_first_failure(work, 2).await, Err(0));
        assert_eq!(begun.load(Ordering::SeqCst), 2);
        assert_eq!(finished.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn results_are_in_the_order_of_the_work() {
        let work: Vec<BoxFuture<'_, Result<usize, ()>>> = (0..5)
            .map(|number| {
                async move {
                    for _ in number..5 {
                        tokio::task::yield_now().await;
                    }
                    Ok(number)
                }
                .boxed()
            })
            .collect();
        assert_eq!(all_or_first_failure(work, 3).await, Ok(vec![0, 1, 2, 3, 4]));
    }
}
