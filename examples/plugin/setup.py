"""A plugin of maetool: the entry point in the group `maetool.plugins` is what makes its parts known."""

from setuptools import setup

setup(
    name="maetool-stripes",
    version="0.1.0",
    description="Striped masks and mean colours for maetool",
    packages=["maetool_stripes"],
    package_data={"maetool_stripes": ["configs/*.py"]},
    install_requires=["maetool"],
    entry_points={"maetool.plugins": ["stripes = maetool_stripes"]},
)
