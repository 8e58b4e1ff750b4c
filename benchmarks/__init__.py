"""What Evergreen costs against the bare work, as ratios taken side by side in one run (`make bench`)."""
