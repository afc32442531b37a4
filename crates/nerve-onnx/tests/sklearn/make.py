"""Writes models of scikit-learn as ONNX files, each with examples and what ONNX Runtime makes of them.

    pip install scikit-learn==1.9.1 skl2onnx==1.20.0 onnxruntime==1.32.0 onnx==1.23.2
    python make.py

For each NAME.onnx the file NAME.values.onnx has the inputs and the outputs as constants. The outputs are those of
ONNX Runtime; that they are also those of scikit-learn is checked here.
"""

import os
import warnings

import numpy as np
import onnx
import onnxruntime
from onnx import helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.ensemble import (
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

warnings.filterwarnings("ignore")
here = os.path.dirname(os.path.abspath(__file__))
random = np.random.RandomState(0)
X = random.randn(60, 4).astype(np.float32)
two = (X[:, 0] + X[:, 1] ** 2 > 0.7).astype(np.int64)
three = (X[:, 0] > 0).astype(np.int64) + (X[:, 1] > 0.3)
number = (X[:, 0] * 2 + np.abs(X[:, 2])).astype(np.float32)
names = np.array(["blue", "green", "red"])[three]
holes = X.copy()
holes[::5, 1] = np.nan


def write(name, model, x, kind, says, near=1e-5, **options):
    file = convert_sklearn(model, initial_types=[("x", kind)], options=options.get("options"), target_opset=options.get("opset"))
    path = os.path.join(here, name)
    onnx.save(file, path + ".onnx")
    session = onnxruntime.InferenceSession(path + ".onnx", providers=["CPUExecutionProvider"])
    given = session.run(None, {"x": x})
    if says is not None:
        said = says(x)
        at = given[-1] if said.ndim == 2 and said.shape[1] > 1 else given[0]
        at = np.asarray(at)
        if said.dtype.kind in "UO":
            assert (np.asarray(at).ravel() == said.ravel()).all(), name
        else:
            assert np.abs(at.reshape(said.shape) - said).max() <= near * (1 + np.abs(said).max()), name
    named = zip([output.name for output in session.get_outputs()], given)
    values = [numpy_helper.from_array(np.asarray(value), key) for key, value in [("x", x), *named]]
    graph = helper.make_graph([], name, [], [], values)
    onnx.save(helper.make_model(graph), path + ".values.onnx")


floats = FloatTensorType([None, 4])
plain = {"zipmap": False}
new = X[:20] + random.randn(20, 4).astype(np.float32) / 3


def classes(name, model, y, x=new, fit=X, **options):
    model.fit(fit, y)
    write(name, model, x, floats, model.predict_proba, options={id(model): plain}, **options)


classes("logistic_two", LogisticRegression(), two)
classes("logistic_three", LogisticRegression(), three)
classes("logistic_names", make_pipeline(StandardScaler(), LogisticRegression()), names)
classes("tree", DecisionTreeClassifier(max_depth=4, random_state=0), three)
classes("forest", RandomForestClassifier(5, max_depth=3, random_state=0), three)
classes("forest_names", RandomForestClassifier(3, max_depth=2, random_state=0), names)
classes("boosted_two", GradientBoostingClassifier(n_estimators=6, max_depth=2, random_state=0), two)
classes("boosted_three", GradientBoostingClassifier(n_estimators=4, max_depth=2, random_state=0), three)

# Their probabilities come from an iteration that ends early, in ONNX Runtime a little earlier than in scikit-learn.
for name, model, y in [
    ("svc_two", SVC(), two),
    ("svc_three", SVC(kernel="poly", degree=2, coef0=1.0), three),
    ("svc_names", SVC(kernel="linear"), names),
    ("svc_sigmoid", SVC(kernel="sigmoid", gamma=0.1), three),
    ("svc_sure_two", SVC(probability=True, random_state=0), two),
    ("svc_sure_names", SVC(probability=True, random_state=0), names),
]:
    model.fit(X, y)
    write(name, model, new, floats, model.predict, options={id(model): plain})


def numbers(name, model, x=new, fit=X):
    write(name, model.fit(fit, number), x, floats, model.predict)


numbers("linear", LinearRegression())
numbers("tree_number", DecisionTreeRegressor(max_depth=4, random_state=0))
numbers("extra_trees", ExtraTreesRegressor(4, max_depth=3, random_state=0))
numbers("boosted_number", GradientBoostingRegressor(n_estimators=6, max_depth=2, random_state=0))
numbers("svr_rbf", SVR())
numbers("svr_poly", SVR(kernel="poly", degree=2, coef0=1.0))
numbers("imputed", make_pipeline(SimpleImputer(), MinMaxScaler(), LinearRegression()), holes[:20], holes)

for norm in ["l1", "l2", "max"]:
    model = Normalizer(norm=norm).fit(X)
    # The largest of ONNX is that with its sign, of scikit-learn that without.
    write(f"normalizer_{norm}", model, new, floats, model.transform if norm != "max" else None)
texts = np.array([["a", "x"], ["b", "y"], ["a", "z"], ["c", "x"]], dtype=object)
model = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(texts)
unknown = np.array([["c", "z"], ["a", "?"]], dtype=object)
write("onehot_texts", model, unknown, StringTensorType([None, 2]), model.transform)
whole = np.array([[1, 10], [2, 20], [3, 10]], dtype=np.int64)
model = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(whole)
write("onehot_whole", model, np.array([[3, 10], [7, 20]], dtype=np.int64), Int64TensorType([None, 2]), model.transform)
