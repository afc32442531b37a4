#!/usr/bin/env python3
"""What scikit-learn reaches on the folds of `nerve train RECIPE --folds 5`.

    pip install scikit-learn                 # figures in README.md: scikit-learn 1.9.1
    nerve data get boston-housing german-credit titanic ames-housing
    python recipes/peers.py --nerve target/release/nerve boston credit titanic ames

The columns are those of the recipe; the rows of each fold come from `nerve data split --folds --rows --json`.
Whatever is fitted (means, categories, words, settings) is fitted on the training rows of a fold alone:
settings by cross-validation inside of them. A line of the table: mean, deviation of a sample, each fold.
An error (RMSE) has the unit of the column; that of `ames` is one of log(1 + price).
"""

import argparse
import csv
import json
import os
import subprocess
import tomllib
from pathlib import Path

import numpy as np
from sklearn.base import clone
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, StandardScaler

HERE = Path(__file__).parent


class Recipe:
    """The data of a recipe: `x` (cells), `y`, and the positions of the columns of each type."""

    def __init__(self, name):
        self.path = HERE / f"{name}.toml"
        recipe = tomllib.loads(self.path.read_text())
        of_type = {"number": [], "category": [], "text": []}
        for given in recipe["input"]:
            names = given["name"] if isinstance(given["name"], list) else [given["name"]]
            of_type[given["type"]] += names
        (output,) = recipe["output"]
        names = sum(of_type.values(), [])
        self.columns = {kind: [names.index(n) for n in own] for kind, own in of_type.items()}
        with open(file_of(recipe["data"]["name"]), newline="") as file:
            reader = csv.DictReader(file)
            rows, self.lines = [], {}
            for row in reader:
                # nerve names a row by its line: no cell of these files holds a line break.
                self.lines[reader.line_num] = len(rows)
                rows.append(row)
        self.x = np.array([[row[name] for name in names] for row in rows], dtype=object)
        told = [row[output["name"]] for row in rows]
        self.binary = output["type"] == "binary"
        if self.binary:
            self.y = np.array([int(cell == output["positive"]) for cell in told])
        else:
            self.y = np.array([float(cell) for cell in told])
        if output.get("normalize") == "log1p":
            self.y = np.log1p(self.y)

    def folds(self, nerve, k):
        """Pairs of the rows to learn from, those for validation among them, and the rows to judge by."""
        command = [nerve, "data", "split", self.path, "--folds", str(k), "--rows", "--json"]
        said = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
        for fold in said["folds"]:
            rows = {"train": [], "validation": [], "test": []}
            for part in fold["parts"]:
                lines = (int(place.rsplit(":", 1)[1]) for place in part["places"])
                rows[part["part"]] = [self.lines[line] for line in lines]
            yield rows["train"] + rows["validation"], rows["test"]


def file_of(name):
    """The one table of a named data set."""
    share = os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")
    home = Path(os.environ.get("NERVE_DATA", Path(share) / "nerve"))
    (file,) = (home / name).glob("*.csv")
    return file


def floats(cells):
    return np.where(cells == "", "nan", cells).astype(float)


def linear(model, columns):
    """Numbers standardised, categories one-hot, words by TF-IDF; a missing number is the mean, and marked."""
    numbers = make_pipeline(
        FunctionTransformer(floats), SimpleImputer(add_indicator=True), StandardScaler()
    )
    categories = OneHotEncoder(handle_unknown="ignore")
    ready = [("number", numbers, columns["number"]), ("category", categories, columns["category"])]
    ready += [(f"text{c}", TfidfVectorizer(sublinear_tf=True), c) for c in columns["text"]]
    return Pipeline([("ready", ColumnTransformer(ready)), ("model", model)])


def boosted(model, columns):
    """Numbers as they are, categories by number, words that five or more rows have by TF-IDF."""
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    ready = [
        ("number", FunctionTransformer(floats), columns["number"]),
        ("category", categories, columns["category"]),
    ]
    ready += [(f"text{c}", TfidfVectorizer(min_df=5), c) for c in columns["text"]]
    ready = ColumnTransformer(ready, sparse_threshold=0)
    numbers, both = len(columns["number"]), len(columns["number"]) + len(columns["category"])
    model.set_params(categorical_features=list(range(numbers, both)) or None, random_state=0)
    return Pipeline([("ready", ready), ("model", model)])


TREES = {
    "model__learning_rate": [0.03, 0.1],
    "model__max_leaf_nodes": [5, 15],
    "model__max_iter": [100, 300],
    "model__l2_regularization": [0.0, 10.0],
}


def tuned(pipeline, grid, binary):
    """The settings with the best mean over five folds of the training rows."""
    if binary:
        inner, score = StratifiedKFold(5, shuffle=True, random_state=0), "roc_auc"
    else:
        inner, score = KFold(5, shuffle=True, random_state=0), "neg_root_mean_squared_error"
    return GridSearchCV(pipeline, grid, cv=inner, scoring=score, n_jobs=-1)


def models(columns, binary):
    """Names of models and the models."""
    if binary:
        logistic, grid = LogisticRegression(max_iter=2000), {"model__C": np.logspace(-3, 2, 11)}
        yield "logistic regression, C tuned", tuned(linear(logistic, columns), grid, binary)
    else:
        grid = {"model__alpha": np.logspace(-2, 3, 11)}
        yield "ridge, alpha tuned", tuned(linear(Ridge(), columns), grid, binary)
    trees = HistGradientBoostingClassifier if binary else HistGradientBoostingRegressor
    yield "HistGradientBoosting", boosted(trees(), columns)
    yield "HistGradientBoosting, tuned", tuned(boosted(trees(), columns), TREES, binary)


def judge(model, recipe, test):
    """Metrics on the rows of the test."""
    x, y = recipe.x[test], recipe.y[test]
    if not recipe.binary:
        told = model.predict(x)
        return {"RMSE": root_mean_squared_error(y, told), "R2": r2_score(y, told)}
    return {
        "ROC AUC": roc_auc_score(y, model.predict_proba(x)[:, 1]),
        "accuracy": accuracy_score(y, model.predict(x)),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipes", nargs="+")
    parser.add_argument("--nerve", default="nerve", help="the program [default: nerve]")
    parser.add_argument("--folds", type=int, default=5)
    args = parser.parse_args()
    print("| recipe | columns | model | metric | mean | deviation | folds |\n|---|---|---|---|---|---|---|")
    for name in args.recipes:
        recipe = Recipe(name)
        folds = list(recipe.folds(args.nerve, args.folds))
        views = [("all", recipe.columns)]
        if recipe.columns["text"]:
            views.insert(0, ("without text", {**recipe.columns, "text": []}))
        for view, columns in views:
            for title, model in models(columns, recipe.binary):
                scores = []
                for train, test in folds:
                    fitted = clone(model).fit(recipe.x[train], recipe.y[train])
                    scores.append(judge(fitted, recipe, test))
                for metric in scores[0]:
                    each = [score[metric] for score in scores]
                    cells = [f"{np.mean(each):.4f}", f"{np.std(each, ddof=1):.4f}"]
                    cells.append(" ".join(f"{score:.4f}" for score in each))
                    print("|", " | ".join([name, view, title, metric, *cells]), "|", flush=True)


if __name__ == "__main__":
    main()
