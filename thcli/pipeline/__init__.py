"""The pipeline that joins the stages: networks, person, motion curves, frames.

models = load_models(device="auto")                                   models.py
person = read_person(models, "clip.mp4")                              person.py
curves = predict_curves(models, person, read_speech("speech.wav"))    curves.py
for frame in render_frames(models, person, curves): ...               video.py
"""
