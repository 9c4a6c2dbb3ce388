//! An index, JSON or YAML: what is stored of it is read to the same again, and no memory is kept.
#![no_main]

use std::cell::RefCell;
use std::io::{self, Cursor, Write};
use std::rc::Rc;

use flux_budget::Budget;
use flux_chart::index::{IndexError, convert};
use libfuzzer_sys::fuzz_target;

#[derive(Clone, Default)]
struct Output(Rc<RefCell<Vec<u8>>>);

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn stored(input: &[u8], budget: &Budget) -> Result<Vec<u8>, IndexError> {
    let output = Output::default();
    let open = || {
        output.0.borrow_mut().clear();
        Ok(output.clone())
    };
    convert(Cursor::new(input), open, budget)?;
    Ok(output.0.take())
}

fuzz_target!(|input: &[u8]| {
    let budget = Budget::new(8 << 20);
    if let Ok(first) = stored(input, &budget) {
        match stored(&first, &budget) {
            Ok(second) => assert_eq!(first, second),
            // The stored form may be larger than what it was made of.
            Err(IndexError::Memory(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
    assert_eq!(budget.used(), 0);
});
