//! The compiled part of `ensign` for Python; `python/ensign/__init__.py` is what people import.

mod client;
mod context;
mod value;

use pyo3::prelude::*;

/// The compiled part of `ensign`.
#[pymodule]
fn _ensign(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<client::Core>()?;
    module.add_class::<client::Variant>()?;
    Ok(())
}
