def train_epoch(model, batches, sgd, lr):
    total, seen = 0.0, 0
    for k, (images, answers) in enumerate(batches):
        logits = model.forward(images)
        loss, cache = model.engine.softmax_cross_entropy_forward(logits, answers)
        model.backward(model.engine.softmax_cross_entropy_backward(1.0, cache).dlogits)
        sgd.step(lr)
        total += float(loss) * len(images)
        seen += len(images)
        print(f"batch {k}: {loss:.3f}")
    return total / seen
