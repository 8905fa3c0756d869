"""Problems of generators, and exams."""
