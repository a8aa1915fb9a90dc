//! Values as Python objects.

use ensign_sdk::Value;
use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString};
use serde_json::Value as Json;

/// What a flag of this value is in Python.
pub(crate) fn to_python(py: Python<'_>, value: &Value) -> PyResult<Py<PyAny>> {
    Ok(match value {
        Value::String(text) => PyString::new(py, text).into_any().unbind(),
        Value::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any().unbind(),
        Value::Int(number) => PyInt::new(py, *number).into_any().unbind(),
        Value::Float(number) => PyFloat::new(py, *number).into_any().unbind(),
        Value::Json(json) => json_to_python(py, json)?,
    })
}

fn json_to_python(py: Python<'_>, json: &Json) -> PyResult<Py<PyAny>> {
    Ok(match json {
        Json::Null => py.None(),
        Json::Bool(flag) => PyBool::new(py, *flag).to_owned().into_any().unbind(),
        Json::Number(number) => match number.as_i64() {
            Some(number) => PyInt::new(py, number).into_any().unbind(),
            None => PyFloat::new(py, number.as_f64().unwrap_or(f64::NAN)).into_any().unbind(),
        },
        Json::String(text) => PyString::new(py, text).into_any().unbind(),
        Json::Array(items) => {
            let list = PyList::empty(py);
            for item in items {
                list.append(json_to_python(py, item)?)?;
            }
            list.into_any().unbind()
        }
        Json::Object(members) => {
            let dict = PyDict::new(py);
            for (name, value) in members {
                dict.set_item(name, json_to_python(py, value)?)?;
            }
            dict.into_any().unbind()
        }
    })
}
