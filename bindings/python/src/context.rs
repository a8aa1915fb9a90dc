//! Contexts: read from Python's dictionaries where they are, copied only if they are nested.

use ensign_sdk::{Attr, ContextBuf};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::{Map, Value as Json};

/// How deep a context may nest.
const DEPTH: u32 = 32;

/// The attributes of a flat context, borrowed from the dictionary; none when it is nested or names a kind.
pub(crate) fn flat<'a>(
    items: &'a [(Bound<'_, PyAny>, Bound<'_, PyAny>)],
) -> PyResult<Option<Vec<(&'a str, Attr<'a>)>>> {
    let mut all = Vec::with_capacity(items.len());
    for (name, value) in items {
        let name = name.cast::<PyString>()?.to_str()?;
        if name == "kind" {
            return Ok(None);
        }
        let value = if let Ok(text) = value.cast::<PyString>() {
            Attr::Str(text.to_str()?)
        } else if let Ok(flag) = value.cast::<PyBool>() {
            Attr::Bool(flag.is_true())
        } else if let Ok(number) = value.cast::<PyInt>() {
            match number.extract::<i64>() {
                Ok(number) => Attr::Int(number),
                Err(_) => Attr::Float(value.extract()?),
            }
        } else if let Ok(number) = value.cast::<PyFloat>() {
            Attr::Float(number.value())
        } else if value.is_none() {
            continue;
        } else {
            return Ok(None);
        };
        all.push((name, value));
    }
    Ok(Some(all))
}

/// A context of any form, as OpenFeature writes it.
pub(crate) fn owned(unit: Option<&str>, attributes: Option<&Bound<'_, PyDict>>) -> PyResult<ContextBuf> {
    let mut all = Map::new();
    if let Some(unit) = unit {
        all.insert("targetingKey".to_owned(), Json::from(unit));
    }
    for (name, value) in attributes.into_iter().flat_map(|dict| dict.iter()) {
        all.insert(name.cast::<PyString>()?.to_str()?.to_owned(), json(&value, 0)?);
    }
    ContextBuf::from_openfeature(&Json::Object(all)).map_err(|bad| PyValueError::new_err(bad.to_string()))
}

fn json(value: &Bound<'_, PyAny>, depth: u32) -> PyResult<Json> {
    if depth > DEPTH {
        return Err(PyValueError::new_err("the context is nested too deeply"));
    }
    if value.is_none() {
        return Ok(Json::Null);
    }
    if let Ok(text) = value.cast::<PyString>() {
        return Ok(Json::from(text.to_str()?));
    }
    if let Ok(flag) = value.cast::<PyBool>() {
        return Ok(Json::from(flag.is_true()));
    }
    if value.is_instance_of::<PyInt>() {
        return Ok(match value.extract::<i64>() {
            Ok(number) => Json::from(number),
            Err(_) => Json::from(value.extract::<f64>()?),
        });
    }
    if let Ok(number) = value.cast::<PyFloat>() {
        return Ok(Json::from(number.value()));
    }
    if let Ok(dict) = value.cast::<PyDict>() {
        let mut all = Map::new();
        for (name, value) in dict.iter() {
            all.insert(name.cast::<PyString>()?.to_str()?.to_owned(), json(&value, depth + 1)?);
        }
        return Ok(Json::Object(all));
    }
    if let Ok(list) = value.cast::<PyList>() {
        return list.iter().map(|item| json(&item, depth + 1)).collect();
    }
    if let Ok(tuple) = value.cast::<PyTuple>() {
        return tuple.iter().map(|item| json(&item, depth + 1)).collect();
    }
    // Dates and times, of any library.
    if let Ok(text) = value.call_method0("isoformat") {
        return Ok(Json::from(text.extract::<String>()?));
    }
    let kind = value.get_type().name()?;
    Err(PyTypeError::new_err(format!("a context cannot hold a value of type {kind}")))
}
